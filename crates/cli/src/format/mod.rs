//! Values as Barman prints them.

pub(crate) mod python;
pub(crate) mod timestamp;
pub(crate) mod zone;

#[cfg(test)]
mod tests {
    //! Barman's own functions as the judge, where its Python package is installed.

    use std::process::Command;

    use tapster_catalog::record::repr_f64;
    use tapster_manager::text;

    use super::*;

    fn barman_says(program: &str) -> Option<Vec<String>> {
        let output = Command::new("python3").args(["-c", program]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.lines().map(str::to_owned).collect())
    }

    #[test]
    fn sizes_agree_with_barman() {
        let sizes: Vec<f64> = (0..80)
            .flat_map(|power| [0.999, 1.0, 1.05, 1.5].map(|factor| (factor * 1.9_f64.powi(power)).round()))
            .flat_map(|size| [size, -size])
            .collect();
        let program =
            format!("from barman.utils import pretty_size\nfor s in {sizes:?}: print(pretty_size(s))");
        let Some(theirs) = barman_says(&program) else { return };
        let ours: Vec<_> = sizes.iter().map(|size| text::pretty_size(*size)).collect();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn durations_agree_with_barman() {
        let seconds =
            [0.0, 0.4, 1.0, 1.9, 59.99, 60.0, 61.0, 3599.0, 3600.0, 86_399.0, 86_400.0, 90_061.5, 1e7];
        let seconds: Vec<f64> = seconds.into_iter().flat_map(|s| [s, -s]).collect();
        let program = format!(
            "from barman.utils import human_readable_timedelta as h\nfrom datetime import timedelta as t\n\
             for s in {seconds:?}: print(h(t(seconds=s)))"
        );
        let Some(theirs) = barman_says(&program) else { return };
        let ours: Vec<_> =
            seconds.iter().map(|s| text::human_duration(time::Duration::seconds_f64(*s))).collect();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn floats_and_texts_agree_with_python() {
        let floats: Vec<f64> =
            (-30..30).flat_map(|e| [1.0, 1.5, 9.999_999].map(|d| d * 10_f64.powi(e))).collect();
        let Some(theirs) = barman_says(&format!("for f in {floats:?}: print(repr(f))")) else { return };
        assert_eq!(floats.iter().map(|f| repr_f64(*f)).collect::<Vec<_>>(), theirs);
        let texts = ["", "a'b", "a\"b", "a'\"b", "\\", "\t\r\n", "\u{1}", "\u{7f}", "é"];
        let literals: Vec<_> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
        let program = format!("for t in {literals:?}: print(ascii(repr(bytes(t).decode())))");
        let Some(theirs) = barman_says(&program) else { return };
        // `ascii(repr(…))` keeps one text per line; ours is put through the same.
        let ours: Vec<_> =
            texts.iter().map(|t| python::str_repr(&python::str_repr(t)).replace('é', "\\xe9")).collect();
        assert_eq!(ours, theirs);
    }
}
