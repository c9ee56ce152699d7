"""Work that CBR goes on with after a call: which tasks a change started, and what becomes of them."""
