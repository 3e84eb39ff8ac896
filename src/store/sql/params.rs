//! The values of a statement, in the forms in which they are written down.

use rusqlite::ToSql;

/// Values in order.
pub(in crate::store) trait Params {
    /// Each of them.
    fn values(&self) -> Vec<&dyn ToSql>;
}

impl Params for () {
    fn values(&self) -> Vec<&dyn ToSql> {
        Vec::new()
    }
}

impl<T: ToSql, const N: usize> Params for [T; N] {
    fn values(&self) -> Vec<&dyn ToSql> {
        self.iter().map(|one| one as &dyn ToSql).collect()
    }
}

impl Params for &[&dyn ToSql] {
    fn values(&self) -> Vec<&dyn ToSql> {
        self.to_vec()
    }
}

impl Params for Vec<&dyn ToSql> {
    fn values(&self) -> Vec<&dyn ToSql> {
        self.clone()
    }
}

macro_rules! tuples {
    ($(($($name:ident)+))+) => {$(
        impl<$($name: ToSql),+> Params for ($($name,)+) {
            fn values(&self) -> Vec<&dyn ToSql> {
                #[expect(non_snake_case, reason = "each value is named like its type")]
                let ($($name,)+) = self;
                vec![$($name as &dyn ToSql),+]
            }
        }
    )+};
}

tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) }

/// More values than a tuple holds.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        [$(&$value as &dyn rusqlite::ToSql),*]
    };
}

pub(in crate::store) use params;
