//! A value that whoever needs it first makes, and that is made anew once somebody has
//! found it to be bad: a connection that broke, or a map that is out of date.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::OnceCell;

/// The value, or none yet.
#[derive(Debug)]
pub(super) struct Renewable<T> {
    cell: ArcSwap<OnceCell<T>>,
}

/// A value, and which making of it this is.
#[derive(Debug)]
pub(super) struct Made<T> {
    pub(super) value: T,
    making: Arc<OnceCell<T>>,
}

impl<T: Clone> Renewable<T> {
    pub(super) fn new() -> Self {
        Self { cell: ArcSwap::from_pointee(OnceCell::new()) }
    }

    /// The value, which is made now if there is none. Of several who need it at once one
    /// makes it; when that one fails or gives up, the next one tries.
    pub(super) async fn get<E>(&self, make: impl Future<Output = Result<T, E>>) -> Result<Made<T>, E> {
        let making = self.cell.load_full();
        let value = making.get_or_try_init(|| make).await?.clone();
        Ok(Made { value, making })
    }

    /// The value, if there is one.
    pub(super) fn peek(&self) -> Option<T> {
        self.cell.load().get().cloned()
    }

    /// Lets the next who needs it make it anew, unless somebody has already.
    pub(super) fn discard(&self, bad: &Made<T>) {
        self.cell.compare_and_swap(&bad.making, Arc::new(OnceCell::new()));
    }

    /// Lets the next who needs it make it anew.
    pub(super) fn clear(&self) {
        self.cell.store(Arc::new(OnceCell::new()));
    }

    /// Puts a value in place of the one there is.
    pub(super) fn set(&self, value: T) {
        self.cell.store(Arc::new(OnceCell::new_with(Some(value))));
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn a_value_is_made_anew_once_for_all_who_found_it_bad() {
        let value = Renewable::new();
        let first = value.get(ready(Ok::<_, ()>(1))).await.unwrap();
        let same = value.get(ready(Ok::<_, ()>(2))).await.unwrap();
        assert_eq!((first.value, same.value), (1, 1));
        value.discard(&first);
        assert_eq!(value.get(ready(Err(()))).await.unwrap_err(), ());
        assert_eq!(value.get(ready(Ok::<_, ()>(3))).await.unwrap().value, 3);
        // What the other found bad is gone already.
        value.discard(&same);
        assert_eq!(value.peek(), Some(3));
    }
}
