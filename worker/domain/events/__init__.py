"""Events as the product publishes them, and what can be read of an invalid one."""
