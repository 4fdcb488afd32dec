//! Media types as far as operations need them (RFC 9110, section 8.3.1).

/// Type and subtype in small letters, without parameters.
pub(crate) fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether it is a type or a range of types: `a/b`, `a/*` or `*/*`.
pub(crate) fn is_range(essence: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b))
    };
    match essence.split_once('/') {
        Some((kind, subtype)) => token(kind) && token(subtype) && (kind != "*" || subtype == "*"),
        None => false,
    }
}

/// Whether bodies of this type are JSON (RFC 6839, section 3.1).
pub(crate) fn is_json(essence: &str) -> bool {
    essence.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// Whether some type of this range is JSON.
pub(crate) fn may_be_json(range: &str) -> bool {
    is_json(range) || matches!(range, "*/*" | "application/*")
}

/// Whether a type is in a range.
pub(crate) fn matches(range: &str, essence: &str) -> bool {
    match range.strip_suffix("/*") {
        Some("*") => is_range(essence),
        Some(kind) => essence.split_once('/').is_some_and(|(own, _)| own == kind),
        None => range == essence,
    }
}

/// 0 for a type, 1 for `a/*`, 2 for `*/*`.
pub(crate) fn breadth(range: &str) -> u8 {
    match range.strip_suffix("/*") {
        Some("*") => 2,
        Some(_) => 1,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_found_in_its_range_and_json_by_its_suffix() {
        assert_eq!(essence("Application/JSON ; charset=utf-8"), "application/json");
        assert!(matches("application/*", "application/json") && matches("*/*", "text/plain"));
        assert!(!matches("text/*", "application/json") && !matches("*/*", "nonsense"));
        assert!(is_json("application/json") && is_json("application/merge-patch+json") && !is_json("application/xml"));
        assert!(is_range("application/vnd.a+json") && is_range("*/*"));
        assert!(!is_range("*/json") && !is_range("json") && !is_range("a/b/c") && !is_range(""));
    }
}
