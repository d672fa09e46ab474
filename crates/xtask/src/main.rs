//! Development tasks of Distributary.

fn main() {}
