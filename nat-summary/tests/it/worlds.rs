//! Simulated networks, and the judge in them: no verdict is wrong, and none is missing that the
//! rules can give.

pub(crate) mod random;
