//! How the list of errors becomes a type, whose values have a row each.

/// Makes [`Code`] and its rows from one list.
macro_rules! errors {
    ($($code:ident { $($field:ident: $value:expr,)* })*) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the rows say what each means")]
        pub enum Code { $($code,)* }

        impl Code {
            /// Every one, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The row of the table.
            pub const fn spec(self) -> &'static ErrorSpec {
                match self {
                    $(Self::$code => {
                        const SPEC: &ErrorSpec = &ErrorSpec { $($field: $value,)* ..ErrorSpec::USUAL };
                        const { assert!(SPEC.is_complete(), "a field of the row is missing") };
                        SPEC
                    })*
                }
            }
        }
    };
}

pub(super) use errors;
