"""The HTTP ingress: five wire dialects over one set of use cases."""
