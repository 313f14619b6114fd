//! A span is a root with a link to its caller, never a child: an unsampled parent would drop it.

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer, TracerProvider,
};

use crate::host::{self, Host};

fn caller(flags: TraceFlags) -> SpanContext {
    let state = TraceState::from_key_value([("vendor", "secret")]).unwrap();
    SpanContext::new(TraceId::from(7), SpanId::from(8), flags, true, state)
}

#[test]
fn without_a_caller_there_is_no_link() {
    let host = Host::new();
    host.telemetry().attempt().succeed(&host::cone());
    let span = host.span();
    assert_eq!(span.parent_span_id, SpanId::INVALID);
    assert!(span.links.is_empty());
    assert!(span.span_context.is_valid());
}

#[test]
fn an_unsampled_caller_is_linked_and_does_not_silence_the_span() {
    for flags in [TraceFlags::NOT_SAMPLED, TraceFlags::SAMPLED] {
        let host = Host::new();
        {
            let _here = Context::new()
                .with_remote_span_context(caller(flags))
                .attach();
            host.telemetry().attempt().succeed(&host::cone());
        }
        let span = host.span();
        assert_eq!(span.parent_span_id, SpanId::INVALID, "a root");
        assert_ne!(
            span.span_context.trace_id(),
            TraceId::from(7),
            "of a trace of its own"
        );
        assert_eq!(span.links.len(), 1);
        let link = &span.links[0].span_context;
        assert_eq!(
            (link.trace_id(), link.span_id(), link.trace_flags()),
            (TraceId::from(7), SpanId::from(8), flags)
        );
        assert!(link.is_remote());
        assert_eq!(
            link.trace_state(),
            &TraceState::NONE,
            "what the caller's vendor keeps there is not passed on"
        );
    }
}

#[test]
fn the_caller_is_who_began_the_attempt_not_who_ended_it() {
    let host = Host::new();
    let tracer = host.provider.tracer("caller");
    let attempt = host.telemetry().attempt();
    let bystander =
        Context::new().with_span(tracer.start_with_context("bystander", &Context::new()));
    {
        let _here = bystander.clone().attach();
        attempt.succeed(&host::cone());
    }
    let span = host.span();
    assert_eq!(span.parent_span_id, SpanId::INVALID);
    assert!(span.links.is_empty());
    drop(bystander);
}
