//! Who may do what: every call times every kind of caller, field by field where a call has more to
//! say, and tokens in places that are not theirs.

mod bodies;
mod call;
mod caller;
mod fields;
mod forgeries;
mod pairs;
mod stage;
mod table;
mod ways;

/// An enum and the list of all its variants, which cannot fall apart.
macro_rules! enumerated {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }
    };
}
pub(crate) use enumerated;
