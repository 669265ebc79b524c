"""Events as the product publishes them, and the readable parts of an invalid one."""
