"""How sendas is packed and run: the image, and the resources for Kubernetes."""
