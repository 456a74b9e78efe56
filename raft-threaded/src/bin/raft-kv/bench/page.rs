//! A load as one page to look at: self-contained, so that it can be sent and opened anywhere.

use serde_json::{Value, json};

use super::super::values::counted;
use super::report::Report;

const PAGE: &str = include_str!("page.html");
/// Where the data goes.
const PLACE: &str = "/*LOAD*/";
/// How many points the curve of the latencies has for each halving of what is slower.
const POINTS_EACH: u32 = 5;

/// The whole page.
pub(super) fn page(report: &Report<'_>) -> String {
    let tally = report.tally;
    let points = tally.latencies.iter_quantiles(POINTS_EACH);
    let latencies: Vec<Value> = points
        .map(|point| json!([point.quantile_iterated_to(), point.value_iterated_to()]))
        .collect();
    let course: Vec<[u64; 3]> = tally
        .course
        .slots()
        .iter()
        .map(|slot| [slot.answered, slot.errors, slot.slowest])
        .collect();
    let data = json!({
        "title": "raft-kv bench",
        "subtitle": subtitle(report),
        "rows": report.rows(),
        "latencies": latencies,
        "width": tally.course.width(),
        "elapsed": report.elapsed,
        "course": course,
    });
    // No text may end the element that holds it, or begin a comment in it.
    let data = data.to_string().replace('<', "\\u003c");
    PAGE.replacen(PLACE, &data, 1)
}

/// What the load was.
fn subtitle(report: &Report<'_>) -> String {
    let load = report.arguments;
    let rate = match load.rate {
        None => "whenever there is room".to_string(),
        Some(rate) => format!("{rate} requests a second"),
    };
    format!(
        "{}: {} with {} each, {rate}; {} % reads, {} keys, values of {} bytes, seed {}",
        load.to.join(", "),
        counted(load.clients, "client"),
        counted(load.pipeline, "request"),
        load.reads,
        load.keys,
        load.value_bytes,
        load.seed,
    )
}

#[cfg(test)]
mod tests {
    use super::super::replies::Outcome;
    use super::super::report::tests::check;
    use super::*;

    #[test]
    fn the_page_fetches_nothing_and_no_text_of_a_server_can_change_it() {
        check(Outcome::Error("ERR </script><!--".to_string()), |report| {
            let page = page(report);
            assert!(page.contains(r"ERR \u003c/script>\u003c!--"), "{page}");
            assert_eq!(
                page.matches("</script>").count(),
                PAGE.matches("</script>").count()
            );
            assert!(!page.contains("<!--") && !page.contains(PLACE), "{page}");
            for fetched in ["src=", "href=\"http", "url(", "@import"] {
                assert!(!page.contains(fetched), "{fetched}");
            }
            assert!(page.contains("default-src 'none'"), "{page}");
        });
    }

    #[test]
    fn the_page_holds_the_table_the_curve_and_the_course() {
        check(Outcome::Done, |report| {
            let page = page(report);
            let data = page.split_once("id=\"load\">").unwrap().1;
            let data = data.split_once("</script>").unwrap().0;
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["rows"].as_array().unwrap().len(), report.rows().len());
            let slots = data["course"].as_array().unwrap();
            let answered: u64 = slots.iter().map(|slot| slot[0].as_u64().unwrap()).sum();
            assert_eq!(answered, report.tally.answered());
            let last = data["latencies"].as_array().unwrap().last().unwrap();
            assert_eq!(last[0], 1.0);
            assert!(last[1].as_u64().unwrap() >= 250_000_000, "{last}");
        });
    }
}
