//! The account of a pipeline's spans: each is waiting, exported, failed or dropped, and at no time
//! two of these.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::Poll;
use core::time::Duration;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

use super::failure::ExportFailure;

/// The spans handed to a [`Pipeline`](super::Pipeline), counted by outcome. The sum of the four
/// counts is the number of all spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Delivery {
    /// Queued or being exported.
    pub waiting: u64,
    /// Exported: the exporter reported success.
    pub exported: u64,
    /// Lost: the exporter failed, timed out or panicked.
    pub failed: u64,
    /// Lost: the queue was full.
    pub dropped: u64,
}

#[derive(Debug)]
pub(crate) struct Account {
    room: usize,
    waiting: AtomicUsize,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    failure: LastFailure,
}

/// The latest failure, shared with the part of an exporter that sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastFailure(Arc<Mutex<Option<ExportFailure>>>);

impl LastFailure {
    pub(crate) fn set(&self, failure: ExportFailure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    pub(crate) fn get(&self) -> Option<ExportFailure> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Option<ExportFailure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Account {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            room: room.max(1),
            waiting: AtomicUsize::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failure: LastFailure::default(),
        }
    }

    pub(crate) fn failure(&self) -> Option<ExportFailure> {
        self.failure.get()
    }

    pub(crate) const fn room(&self) -> usize {
        self.room
    }

    pub(crate) fn read(&self) -> Delivery {
        Delivery {
            waiting: self.waiting.load(Ordering::Relaxed) as u64,
            exported: self.exported.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    fn admit(&self) -> bool {
        let more = |waiting| (waiting < self.room).then_some(waiting + 1);
        let is_admitted = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok();
        if !is_admitted {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_admitted
    }

    fn settle(&self, spans: usize, is_exported: bool) {
        let end = if is_exported {
            &self.exported
        } else {
            &self.failed
        };
        end.fetch_add(spans as u64, Ordering::Relaxed);
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
    }
}

/// A processor that admits spans to another one. The other's queue has as much room as the account,
/// and so never drops a span itself.
#[derive(Debug)]
pub(crate) struct AdmittingProcessor<P> {
    inner: P,
    account: Arc<Account>,
}

impl<P> AdmittingProcessor<P> {
    pub(crate) const fn new(inner: P, account: Arc<Account>) -> Self {
        Self { inner, account }
    }
}

impl<P: SpanProcessor> SpanProcessor for AdmittingProcessor<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.account.admit() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter that settles the account of each batch that another one exports.
pub(crate) struct AccountingExporter<E> {
    inner: E,
    account: Arc<Account>,
    /// Failures that the exporter's own errors do not show.
    seen: LastFailure,
}

impl<E> AccountingExporter<E> {
    pub(crate) const fn new(inner: E, account: Arc<Account>, seen: LastFailure) -> Self {
        Self {
            inner,
            account,
            seen,
        }
    }
}

impl<E> fmt::Debug for AccountingExporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountingExporter")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for AccountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = contain(self.inner.export(batch)).await;
        self.account.settle(spans, matches!(result, Some(Ok(()))));
        // once per batch, so that it explains this one
        let seen = self.seen.take();
        let failure = match &result {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(ExportFailure::of(error)),
            None => Some(ExportFailure::Panicked),
        };
        if let Some(failure) = failure {
            self.account.failure.set(seen.unwrap_or(failure));
        }
        match result {
            Some(Ok(())) => Ok(()),
            // the SDK logs the error, and an exporter's own texts hold addresses
            Some(Err(OTelSdkError::Timeout(after))) => Err(OTelSdkError::Timeout(after)),
            Some(Err(OTelSdkError::AlreadyShutdown)) => Err(OTelSdkError::AlreadyShutdown),
            Some(Err(_)) => Err(OTelSdkError::InternalFailure("export failed".into())),
            None => Err(OTelSdkError::InternalFailure("exporter panicked".into())),
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Contains a panic of the exporter and returns `None` for it. Let through, the panic would end the
/// SDK's thread, and with it all export for ever.
async fn contain<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        },
    )
    .await
}
