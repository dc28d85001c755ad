//! Figures as a chart: one bar each, beside what was to be reached. A file of its own, so that a document can show it.

use std::fmt::Write as _;

const LEFT: f64 = 10.0;
const WIDTH: f64 = 680.0;
const ROW: f64 = 44.0;
const TOP: f64 = 34.0;

/// One bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// Where the line of what is to be reached stands; none for a figure without one.
    pub(crate) reach: Option<f64>,
}

/// A picture in SVG with a scale from zero. Its colours follow the reader's light or dark scheme; what it shows is in its text, too.
pub(crate) fn bars(title: &str, bars: &[Bar]) -> String {
    let most = bars.iter().flat_map(|bar| [bar.value, bar.reach.unwrap_or_default()]).fold(0.0, f64::max);
    let scale = WIDTH / (most * 1.1).max(f64::EPSILON);
    let (width, height) = (LEFT + WIDTH + 10.0, TOP + ROW * bars.len() as f64 + 8.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title>{}</title>\n\
         <style>text {{ fill: #1f2328 }} .bar {{ fill: #4c7fb8 }} .reach {{ stroke: #b3261e; stroke-width: 2 }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .bar {{ fill: #6ea3dd }} .reach {{ stroke: #ff8a80 }} }}</style>\n\
         <text x=\"10\" y=\"20\" font-weight=\"600\">{}</text>\n",
        escaped(title),
        escaped(title)
    );
    for (at, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        let (middle, length) = (y + 34.0, bar.value * scale);
        let _ = writeln!(
            text,
            "<text x=\"{LEFT}\" y=\"{}\">{}</text><rect class=\"bar\" x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"18\"/>\
             <text x=\"{:.1}\" y=\"{middle}\">{:.2}</text>",
            y + 14.0,
            escaped(&bar.label),
            y + 20.0,
            LEFT + length + 6.0,
            bar.value
        );
        if let Some(reach) = bar.reach {
            let x = LEFT + reach * scale;
            let _ = writeln!(
                text,
                "<line class=\"reach\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\"><title>to reach: {reach}</title></line>",
                y + 17.0,
                y + ROW - 3.0
            );
        }
    }
    text + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_value_and_the_line_stands_where_it_should_end() {
        let bar = |value, reach| Bar { label: "a < b & c".to_owned(), value, reach };
        let text = bars("Builds", &[bar(1.0, Some(2.0)), bar(0.5, None)]);
        let widths: Vec<f64> =
            text.split("width=\"").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect();
        assert!((widths[0] - 2.0 * widths[1]).abs() < 0.2, "{widths:?}");
        let line: f64 = text.split("x1=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        assert!((line - LEFT - 2.0 * widths[0]).abs() < 0.2, "{line} {widths:?}");
        assert!(text.contains("a &lt; b &amp; c") && text.matches("class=\"reach\"").count() == 1, "{text}");
        assert!(!bars("none", &[]).contains("NaN"));
    }
}
