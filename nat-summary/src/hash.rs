//! A hash for short keys.

use core::hash::Hasher;

/// FNV-1a, 64 bits: a fixed hash for short keys. A simple hash is enough, because a collision
/// merges two servers or sessions, and fewer of them make a verdict more careful.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The number of an ICE session, from its name; never 0, because 0 stands for an unknown session.
/// Two sessions whose numbers collide would count as one.
pub(crate) fn session_of<'a>(names: impl IntoIterator<Item = &'a str>) -> u32 {
    let mut hash = Fnv::default();
    for name in names {
        hash.write(name.as_bytes());
    }
    let hash = hash.finish();
    ((hash ^ (hash >> 32)) as u32).max(1)
}
