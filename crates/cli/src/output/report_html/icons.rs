//! Small pictures, each with a form of its own, so that no meaning rests on colour alone.

use super::markup::Markup;
use crate::output::report::verdict::State;

/// What the pictures of all servers use.
pub(super) const DEFINITIONS: &str = "<svg class=\"defs\" aria-hidden=\"true\"><defs>\
<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<path class=\"hatch\" d=\"M0 0V6\"/></pattern>\
<path id=\"full\" d=\"M0-7 7 0 0 7-7 0Z\" fill=\"currentColor\"/>\
<path id=\"full-old\" d=\"M0-6 6 0 0 6-6 0Z\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.6\"/>\
<circle id=\"inc\" r=\"4.5\" fill=\"currentColor\"/>\
<circle id=\"inc-old\" r=\"4\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.6\"/>\
<path id=\"fail\" d=\"M-5-5 5 5M5-5-5 5\" stroke=\"currentColor\" stroke-width=\"2.6\" stroke-linecap=\"round\" fill=\"none\"/>\
<path id=\"wait\" d=\"M-5-6H5L-5 6H5Z\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.8\" stroke-linejoin=\"round\"/>\
<path id=\"kept\" d=\"M0-18l1.6 3.4 3.7.4-2.8 2.5.8 3.7L0-9.9l-3.3 1.9.8-3.7-2.8-2.5 3.7-.4Z\" fill=\"currentColor\"/>\
<path id=\"alarm\" d=\"M0-10 6 0H-6Z\"/>\
</defs></svg>";

const GOOD: &str = "<svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><circle cx=\"8\" cy=\"8\" r=\"7\" fill=\"none\" \
stroke=\"currentColor\" stroke-width=\"1.6\"/><path d=\"m4.8 8.3 2.2 2.2 4.2-4.6\" fill=\"none\" stroke=\"currentColor\" \
stroke-width=\"1.8\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/></svg>";
const ATTENTION: &str = "<svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path d=\"M8 1.8 15 14H1Z\" fill=\"none\" \
stroke=\"currentColor\" stroke-width=\"1.6\" stroke-linejoin=\"round\"/><path d=\"M8 6v4M8 12v.2\" \
stroke=\"currentColor\" stroke-width=\"1.8\" stroke-linecap=\"round\"/></svg>";
const BAD: &str = "<svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path d=\"M5.2 1h5.6L15 5.2v5.6L10.8 15H5.2L1 10.8V5.2Z\" \
fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.6\" stroke-linejoin=\"round\"/><path d=\"m5.6 5.6 4.8 4.8m0-4.8-4.8 4.8\" \
stroke=\"currentColor\" stroke-width=\"1.8\" stroke-linecap=\"round\"/></svg>";
const IDLE: &str = "<svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><circle cx=\"8\" cy=\"8\" r=\"7\" fill=\"none\" \
stroke=\"currentColor\" stroke-width=\"1.6\"/><path d=\"M6.2 5.5v5m3.6-5v5\" stroke=\"currentColor\" stroke-width=\"1.8\" \
stroke-linecap=\"round\"/></svg>";

/// The picture of a state.
pub(super) const fn of(state: State) -> &'static str {
    match state {
        State::Good => GOOD,
        State::Attention => ATTENTION,
        State::Bad => BAD,
        State::Idle => IDLE,
    }
}

/// The state of a server with its word.
pub(super) fn badge(page: &mut Markup, state: State) {
    page.open("span", &[("class", &format_args!("state {}", state.as_str()))]);
    page.raw(of(state)).text(state.label()).raw("</span>");
}
