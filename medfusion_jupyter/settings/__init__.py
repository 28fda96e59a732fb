"""What a user may set, with units and ranges: pydantic models free of torch, so that a server can check them too."""
