//! How long spans last, by their names.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Subscriber, span};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Keeps the length of every span that ended: from its making to its end, waiting
/// included. Clones share what they keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Arc<Mutex<HashMap<&'static str, Duration>>>);

impl Spans {
    /// The lengths of what ended since the last time; of spans with the same name,
    /// the last one's.
    pub(crate) fn take(&self) -> HashMap<&'static str, Duration> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Begun(Instant);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Begun(Instant::now()));
        }
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        if let Some(Begun(begun)) = span.extensions().get() {
            let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            ended.insert(span.name(), begun.elapsed());
        }
    }
}
