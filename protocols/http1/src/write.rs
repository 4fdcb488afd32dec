//! Writes messages into a caller's buffer. Nothing is checked here: targets and fields of the core types hold nothing that
//! could break a head.

use portolan_exchange::fields::{Name, Names};
use portolan_exchange::{Fields, Method, Target};

use crate::Framing;

/// What stands behind the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const LINE_END: &[u8] = b"\r\n";

const CODING: Names = Names::of(&[Name::TransferEncoding]);
const FRAMING: Names = Names::of(&[Name::ContentLength, Name::TransferEncoding]);
const CONNECTION: Names = Names::of(&[Name::Connection]);

/// Writes the head of a request: all fields but `Content-Length` and `Transfer-Encoding`, then what the framing says.
///
/// [`Framing::Length`] of nothing is said too: some servers want to hear of it before they take a POST.
pub fn write_request(out: &mut Vec<u8>, method: &Method, target: &Target, fields: &Fields, framing: Framing) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields.write_lines(out, FRAMING);
    write_framing(out, framing);
    out.extend_from_slice(LINE_END);
}

/// Writes the head of a response: all fields but `Content-Length` and `Transfer-Encoding`, then what the framing says.
/// Where `connection` is given, it stands in the place of the fields' own `Connection`.
pub fn write_response(
    out: &mut Vec<u8>,
    status: u16,
    fields: &Fields,
    framing: Framing,
    connection: Option<&'static str>,
) {
    write_status_line(out, status);
    fields.write_lines(out, if connection.is_some() { FRAMING.and(CONNECTION) } else { FRAMING });
    write_connection(out, connection);
    write_framing(out, framing);
    out.extend_from_slice(LINE_END);
}

/// Writes the head of a response that has no content but may say how long it would be: to HEAD, or with status 304 (RFC
/// 9110, section 8.6). Its `Content-Length` stays as given, a `Transfer-Encoding` goes.
pub fn write_response_without_content(
    out: &mut Vec<u8>,
    status: u16,
    fields: &Fields,
    connection: Option<&'static str>,
) {
    write_status_line(out, status);
    fields.write_lines(out, if connection.is_some() { CODING.and(CONNECTION) } else { CODING });
    write_connection(out, connection);
    out.extend_from_slice(LINE_END);
}

/// Writes what stands before a chunk of so many bytes. Nothing for none: that would be the end of the body.
pub fn write_chunk_head(out: &mut Vec<u8>, length: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if length == 0 {
        return;
    }
    let mut shift = usize::BITS - length.leading_zeros();
    shift = shift.next_multiple_of(4);
    while shift > 0 {
        shift -= 4;
        out.push(DIGITS[length >> shift & 15]);
    }
    out.extend_from_slice(LINE_END);
}

/// Writes the end of a body of chunks, with these trailers.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: Option<&Fields>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write_lines(out, FRAMING);
    }
    out.extend_from_slice(LINE_END);
}

fn write_status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(LINE_END);
}

fn write_connection(out: &mut Vec<u8>, connection: Option<&'static str>) {
    if let Some(option) = connection {
        out.extend_from_slice(b"Connection: ");
        out.extend_from_slice(option.as_bytes());
        out.extend_from_slice(LINE_END);
    }
}

fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(out, length);
            out.extend_from_slice(LINE_END);
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

fn write_decimal(out: &mut Vec<u8>, number: u64) {
    let (mut digits, mut at, mut rest) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The phrase that the registry of statuses gives, empty for those it does not know. It means nothing (RFC 9112, section
/// 4): an upstream's own is not passed on.
const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let mut fields = Fields::new();
        let all =
            [("A", "1"), ("content-length", "7"), ("Transfer-Encoding", "chunked"), ("connection", "x"), ("B", "2")];
        for (name, value) in all {
            fields.add(name, value).unwrap();
        }
        fields
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_request_says_its_framing_once_whatever_its_fields_say() {
        let with = |framing| written(|out| write_request(out, &Method::Post, &Target::new("/a?b"), &fields(), framing));
        let head = "POST /a?b HTTP/1.1\r\nA: 1\r\nconnection: x\r\nB: 2\r\n";
        assert_eq!(with(Framing::None), format!("{head}\r\n"));
        assert_eq!(with(Framing::Length(0)), format!("{head}Content-Length: 0\r\n\r\n"));
        assert_eq!(with(Framing::Length(u64::MAX)), format!("{head}Content-Length: 18446744073709551615\r\n\r\n"));
        assert_eq!(with(Framing::Chunked), format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn a_response_says_what_becomes_of_the_connection_where_that_is_given() {
        assert_eq!(
            written(|out| write_response(out, 200, &fields(), Framing::Length(10), Some("close"))),
            "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"
        );
        assert_eq!(
            written(|out| write_response(out, 599, &fields(), Framing::UntilClose, None)),
            "HTTP/1.1 599 \r\nA: 1\r\nconnection: x\r\nB: 2\r\n\r\n"
        );
        assert_eq!(
            written(|out| write_response_without_content(out, 304, &fields(), None)),
            "HTTP/1.1 304 Not Modified\r\nA: 1\r\ncontent-length: 7\r\nconnection: x\r\nB: 2\r\n\r\n"
        );
    }

    #[test]
    fn chunks_are_written_with_their_sizes_and_end_with_trailers() {
        let mut trailers = Fields::new();
        trailers.add("T", "1").unwrap();
        let sizes = [1, 15, 16, 255, 4096, usize::MAX].map(|size| written(|out| write_chunk_head(out, size)));
        assert_eq!(sizes, ["1\r\n", "f\r\n", "10\r\n", "ff\r\n", "1000\r\n", "ffffffffffffffff\r\n"]);
        assert_eq!(written(|out| write_chunk_head(out, 0)), "");
        assert_eq!(written(|out| write_last_chunk(out, None)), "0\r\n\r\n");
        assert_eq!(written(|out| write_last_chunk(out, Some(&trailers))), "0\r\nT: 1\r\n\r\n");
    }
}
