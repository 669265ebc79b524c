"""The second stage: a sent letter's copy in the mailbox's Sent folder."""
