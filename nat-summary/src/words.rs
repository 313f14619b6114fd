//! One word for each variant of an enum, as spans, JSON and command lines write it.

/// Gives an enum `ALL` and `as_str`, from one list of its variants. The compiler refuses a list that
/// misses one, because `as_str` matches all of them: so `ALL` is complete as well.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $word:literal,)+ }) => {
        impl $name {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            $(#[$doc])*
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

pub(crate) use words;
