"""What outside services say of keys, through a read-through cache: a service that stops costs a batch a moment, once."""
