"""The AsyncAPI document, held against AsyncAPI's own parser."""
