/// The number of bytes in an offset.
