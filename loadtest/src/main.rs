//! Portolan and its peers side by side: CPU per request, interleaved.

fn main() {}
