//! Small charts as inline SVG: no attribute carries a style, so that the page's policy can forbid them. A chart stands beside its
//! numbers and repeats them, so it is hidden from screen readers, but for the one that has no table.

use maud::{Markup, html};

/// All charts are this wide in their own units and scale with their place.
const WIDTH: f64 = 1000.0;

/// A bar from `begin` to `end` on a scale from 0 to `whole`, all in the same unit.
pub(crate) fn span(begin: f64, end: f64, whole: f64, class: &str) -> Markup {
    let (x, width) = placed(begin, end, whole);
    html! {
        svg.chart.span viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect.rail x="0" y="0" width="1000" height="20" {}
            rect class={ "bar " (class) } x=(x) y="0" width=(width) height="20" {}
        }
    }
}

/// A bar from 0 to `value`, with a mark at each of `marks`: a limit, a size before.
pub(crate) fn gauge(value: f64, whole: f64, class: &str, marks: &[(f64, &str)]) -> Markup {
    range(0.0, value, whole, class, marks)
}

/// The same from `begin` on.
pub(crate) fn range(begin: f64, end: f64, whole: f64, class: &str, marks: &[(f64, &str)]) -> Markup {
    let (x, width) = placed(begin, end, whole);
    html! {
        svg.chart.gauge viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect.rail x="0" y="5" width="1000" height="10" {}
            rect class={ "bar " (class) } x=(x) y="5" width=(width) height="10" {}
            @for (mark, class) in marks {
                line class={ "mark " (class) } x1=(at(*mark, whole)) x2=(at(*mark, whole)) y1="0" y2="20" {}
            }
        }
    }
}

/// Parts of a whole side by side, in the order in which they were; `label` says for a screen reader what is seen.
pub(crate) fn strip(parts: &[(f64, f64, &str)], whole: f64, label: &str) -> Markup {
    html! {
        svg.chart.strip viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.rail x="0" y="0" width="1000" height="20" {}
            @for (begin, end, class) in parts {
                @let (x, width) = placed(*begin, *end, whole);
                rect class={ "bar " (class) } x=(x) y="0" width=(width) height="20" {}
            }
        }
    }
}

/// Where a bar begins and how wide it is. The shortest is still seen, and the longest does not leave the chart.
fn placed(begin: f64, end: f64, whole: f64) -> (String, String) {
    let narrowest = 4.0;
    let (from, to) = (position(begin, whole), position(end, whole));
    let from = from.min(WIDTH - narrowest);
    (rounded(from), rounded((to - from).max(narrowest)))
}

fn at(value: f64, whole: f64) -> String {
    rounded(position(value, whole))
}

fn position(value: f64, whole: f64) -> f64 {
    if whole > 0.0 && value.is_finite() { (value / whole * WIDTH).clamp(0.0, WIDTH) } else { 0.0 }
}

fn rounded(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_stays_in_its_chart_and_is_always_seen() {
        assert_eq!(placed(0.0, 5.0, 10.0), ("0.0".into(), "500.0".into()));
        assert_eq!(placed(5.0, 50.0, 10.0), ("500.0".into(), "500.0".into()));
        assert_eq!(placed(10.0, 10.0, 10.0), ("996.0".into(), "4.0".into()));
        assert_eq!(placed(1.0, f64::NAN, 0.0), ("0.0".into(), "4.0".into()));
    }
}
