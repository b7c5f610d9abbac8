//! A page that compares the policies: a table and plots, in one file that needs nothing else.
//!
//! `plot.rs` draws; `page.css` says how it looks, by day and by night.

mod plot;

use std::fmt::Write;

use super::{
    Span,
    look::Look,
    outcome::Outcome,
    reasons::Reason,
    table::{self, Line},
};

use plot::{Curve, Plot};

/// Colours of the style sheet; policies beyond them begin again.
const COLOURS: usize = 8;

/// The page. `about` says what was simulated.
pub(super) fn page(about: &str, span: Span, outcomes: &[Outcome]) -> String {
    let mut page = String::new();
    page += "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    page += "<title>Placement policies compared</title>\n<style>\n";
    page += include_str!("page.css");
    page += "</style>\n</head>\n<body>\n<h1>Placement policies compared</h1>\n";
    page +=
        &format!("<p>{} Loads count from second {:.0} on.</p>\n", escaped(about), span.warm_up.as_secs_f64());
    page += &legend(outcomes);
    page += "<div class=\"plots\">\n";
    page += &plots(outcomes);
    page += &reasons("Hosts that refused, by reason", outcomes, |o| &o.refused_by_hosts_for);
    page += &reasons("The policy found no host, by reason", outcomes, |o| &o.refused_by_policy_for);
    page += "</div>\n<h2>All figures</h2>\n";
    page += &figures(outcomes);
    page += "</body>\n</html>\n";
    page
}

fn plots(outcomes: &[Outcome]) -> String {
    let plots = [
        Plot {
            title: "Load of the fullest host, and the mean (dashed)",
            x: "minutes",
            y: "load, %",
            from_zero: true,
            curves: [over_time(outcomes, |look| Some(look.max * 100.0)), means(outcomes)].concat(),
        },
        Plot {
            title: "Fullest host over the mean: 1 is even",
            x: "minutes",
            y: "times the mean",
            from_zero: false,
            curves: over_time(outcomes, Look::imbalance),
        },
        Plot {
            title: "Load of each host in the end, from the emptiest to the fullest",
            x: "hosts, %",
            y: "load, %",
            from_zero: true,
            curves: in_order(outcomes, |outcome| &outcome.end_loads, |share, load| (share, load * 100.0)),
        },
        Plot {
            title: "Agents that had their host after so many seconds",
            x: "seconds of waiting",
            y: "agents, %",
            from_zero: true,
            curves: in_order(outcomes, |outcome| &outcome.waits_s, |share, wait| (wait, share)),
        },
        Plot {
            title: "Fragmentation: free CPU where no large agent fits",
            x: "minutes",
            y: "of the free CPU, %",
            from_zero: true,
            curves: over_time(outcomes, |look| look.fragmentation.map(|share| share * 100.0)),
        },
    ];
    plots.iter().map(Plot::svg).collect()
}

/// What was seen at each look, for each policy.
fn over_time(outcomes: &[Outcome], value: fn(&Look) -> Option<f64>) -> Vec<Curve> {
    let point = |look: &Look| Some((look.at_s / 60.0, value(look)?));
    let curve = |(nth, outcome): (usize, &Outcome)| Curve {
        colour: nth % COLOURS,
        dashed: false,
        points: outcome.looks.iter().filter_map(point).collect(),
    };
    outcomes.iter().enumerate().map(curve).collect()
}

fn means(outcomes: &[Outcome]) -> Vec<Curve> {
    let curves = over_time(outcomes, |look| Some(look.mean * 100.0));
    curves.into_iter().map(|curve| Curve { dashed: true, ..curve }).collect()
}

/// Values of each policy in their order; `point` is told the share of them up to a value,
/// in hundredths, and the value.
fn in_order(
    outcomes: &[Outcome],
    values: fn(&Outcome) -> &Vec<f64>,
    point: fn(f64, f64) -> (f64, f64),
) -> Vec<Curve> {
    let curve = |(nth, outcome): (usize, &Outcome)| {
        let values = values(outcome);
        let share = |at: usize| at as f64 * 100.0 / values.len().saturating_sub(1).max(1) as f64;
        Curve {
            colour: nth % COLOURS,
            dashed: false,
            points: values.iter().enumerate().map(|(at, value)| point(share(at), *value)).collect(),
        }
    };
    outcomes.iter().enumerate().map(curve).collect()
}

fn legend(outcomes: &[Outcome]) -> String {
    let mut legend = "<ul class=\"legend\">\n".to_owned();
    for (nth, outcome) in outcomes.iter().enumerate() {
        let (colour, label) = (nth % COLOURS, escaped(&outcome.label));
        let _ = writeln!(legend, "<li><span class=\"swatch fill{colour}\"></span>{label}</li>");
    }
    legend + "</ul>\n"
}

/// A bar for each reason and policy.
fn reasons(title: &str, outcomes: &[Outcome], of: fn(&Outcome) -> &Vec<Reason>) -> String {
    let most = outcomes.iter().flat_map(of).map(|reason| reason.times).max().unwrap_or_default();
    let mut bars = format!("<figure>\n<figcaption>{title}</figcaption>\n");
    if most == 0 {
        bars += "<p class=\"none\">Never.</p>\n";
    }
    for (nth, outcome) in outcomes.iter().enumerate() {
        for Reason { reason, times, .. } in of(outcome) {
            let width = *times as f64 * 100.0 / most as f64;
            let (colour, reason, label) = (nth % COLOURS, escaped(reason), escaped(&outcome.label));
            let _ = writeln!(
                bars,
                "<div class=\"bar\" title=\"{label}\"><span>{reason}</span><i class=\"fill{colour}\" \
                 style=\"width:{width:.1}%\"></i><b>{times}</b></div>"
            );
        }
    }
    bars + "</figure>\n"
}

fn figures(outcomes: &[Outcome]) -> String {
    let mut rows = "<div class=\"wide\"><table>\n<thead><tr><th></th>".to_owned();
    rows.extend(outcomes.iter().map(|outcome| format!("<th>{}</th>", escaped(&outcome.label))));
    rows += "</tr></thead>\n<tbody>\n";
    for Line { about, says } in table::lines(outcomes) {
        let class = if about.starts_with(' ') { " class=\"part\"" } else { "" };
        let _ = write!(rows, "<tr><th{class}>{}</th>", escaped(about.trim()));
        rows.extend(says.iter().map(|said| format!("<td>{}</td>", escaped(said))));
        rows += "</tr>\n";
    }
    rows + "</tbody>\n</table></div>\n"
}

/// Text as it may stand in the page, also between quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(super::escaped("<b title='\"'>&"), "&lt;b title=&#39;&quot;&#39;&gt;&amp;");
    }
}
