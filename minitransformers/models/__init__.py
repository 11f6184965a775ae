"""One file a family: configuration, weight names, backbone, task classes."""
