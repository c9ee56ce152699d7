"""How well a tenant's resources are protected: lists of all its projects, read and put together."""
