"""Why a letter or its copy failed: replies classified, and hints on what to do."""
