"""The image's recipe and the resources for Kubernetes, checked without an engine or a cluster."""
