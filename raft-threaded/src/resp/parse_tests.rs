//! Requests in pieces, whole, too long, and nonsense.

use super::*;
use quickcheck::quickcheck;

fn all(input: &[u8]) -> Result<Vec<Request>, ParseError> {
    let (mut parser, mut buffer) = (Parser::default(), BytesMut::from(input));
    let mut requests = Vec::new();
    while let Some(request) = parser.next(&mut buffer)? {
        requests.push(request);
    }
    Ok(requests)
}

fn command(words: &[&str]) -> Request {
    let words = words.iter();
    Request::Command(words.map(|w| Bytes::from((*w).to_string())).collect())
}

#[test]
fn an_array_of_bulk_strings_is_a_command() {
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n";
    let expected = vec![command(&["GET", "a"]), command(&["PING"])];
    assert_eq!(all(input), Ok(expected));
}

#[test]
fn a_line_is_a_command_and_empty_lines_are_nothing() {
    let expected = vec![command(&["set", "a", "1"])];
    assert_eq!(all(b"\r\n  set a\t1 \r\n\n*0\r\n*-1\r\n"), Ok(expected));
}

#[test]
fn what_is_too_long_is_skipped_and_the_connection_goes_on() {
    let limits = Limits {
        bulk_bytes_max: 4,
        request_bytes_max: 6,
        ..Limits::default()
    };
    let mut parser = Parser::new(limits);
    let mut buffer = BytesMut::new();
    let input = b"*3\r\n$3\r\nSET\r\n$9\r\nxxxxxxxxx\r\n$1\r\ny\r\n*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nabcd\r\n$4\r\nefgh\r\n";
    let mut requests = Vec::new();
    for byte in input {
        buffer.extend_from_slice(&[*byte]);
        requests.extend(parser.next(&mut buffer).unwrap());
    }
    let too_long = |bytes, limit| Request::TooLong { bytes, limit };
    let expected = vec![too_long(9, 4), command(&["PING"]), too_long(8, 6)];
    assert_eq!(requests, expected);
}

#[test]
fn a_claim_of_600_megabytes_ends_the_connection_with_the_length() {
    let refused = all(b"*2\r\n$3\r\nGET\r\n$629145600\r\n").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Protocol error: invalid bulk length '629145600'"
    );
}

#[test]
fn nonsense_is_refused_in_a_sentence() {
    let said = |input: &[u8]| all(input).unwrap_err().to_string();
    assert_eq!(
        said(b"*x\r\n"),
        "Protocol error: invalid multibulk length 'x'"
    );
    assert_eq!(
        said(b"*1\r\n:1\r\n"),
        "Protocol error: expected '$', got ':'"
    );
    assert_eq!(
        said(b"*1\r\n$-1\r\n"),
        "Protocol error: invalid bulk length '-1'"
    );
    assert_eq!(
        said(b"*1\r\n$1\r\nabc\r\n"),
        "Protocol error: a bulk string is not followed by CRLF"
    );
    assert!(said(&vec![b'x'; 70_000]).contains("too big inline request"));
}

/// Each connection kept up to a mebibyte for good, of which a client had only to send one command.
#[test]
fn a_command_of_many_arguments_keeps_no_memory_once_it_is_over() {
    let mut parser = Parser::default();
    let whole = [b"*50000\r\n".as_slice(), &b"$0\r\n\r\n".repeat(50_000)].concat();
    let mut buffer = BytesMut::from(&whole[..]);
    let Ok(Some(Request::Command(arguments))) = parser.next(&mut buffer) else {
        panic!("all of the command is there");
    };
    assert_eq!(arguments.len(), 50_000);
    parser.give_back(arguments);
    assert!(parser.spans.capacity() <= ARGUMENTS_KEPT, "a whole one");

    let mut buffer = BytesMut::from(&whole[..whole.len() - 1]);
    assert_eq!(parser.next(&mut buffer), Ok(None));
    assert!(
        parser.spans.capacity() <= ARGUMENTS_KEPT,
        "one of which the end is missing"
    );
    buffer.extend_from_slice(b"\n");
    assert!(matches!(
        parser.next(&mut buffer),
        Ok(Some(Request::Command(_)))
    ));
    assert!(
        parser.arguments.capacity() <= ARGUMENTS_KEPT,
        "one that came in pieces"
    );
}

quickcheck! {
    fn however_the_bytes_are_cut_the_requests_are_the_same(cuts: Vec<u8>) -> bool {
        let input = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10\r\n0123456789\r\nPING hello\r\n*1\r\n$4\r\nQUIT\r\n";
        let whole = all(input).unwrap();
        let (mut parser, mut buffer) = (Parser::default(), BytesMut::new());
        let (mut requests, mut rest) = (Vec::new(), &input[..]);
        for cut in cuts.iter().map(|cut| usize::from(*cut % 16)).chain([usize::MAX]) {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            buffer.extend_from_slice(now);
            rest = later;
            while let Some(request) = parser.next(&mut buffer).unwrap() {
                requests.push(request);
            }
        }
        requests == whole
    }

    /// What is sent a byte at a time is never there as a whole.
    fn requests_that_are_there_as_a_whole_are_the_same_as_those_in_pieces(pieces: Vec<u8>) -> bool {
        const PIECES: [&[u8]; 16] = [
            b"*", b"$", b"\r\n", b"1", b"2", b"0", b"-1", b"a", b"*1\r\n", b"$1\r\na\r\n", b"$0\r\n\r\n", b" ",
            b"*2\r\n", b"$9\r\n", b"$12\r\nabcdefghijkl\r\n", b"\n",
        ];
        let pieces = pieces.iter().map(|piece| PIECES[usize::from(piece % 16)]);
        let input = pieces.collect::<Vec<_>>().concat();
        let limits = Limits {
            bulk_bytes_max: 10,
            request_bytes_max: 12,
            arguments_max: 2,
            ..Limits::default()
        };
        let taken = |chunk: usize| {
            let (mut parser, mut buffer) = (Parser::new(limits), BytesMut::new());
            let mut requests = Vec::new();
            for bytes in input.chunks(chunk) {
                buffer.extend_from_slice(bytes);
                loop {
                    match parser.next(&mut buffer) {
                        Ok(Some(request)) => requests.push(Ok(request)),
                        Ok(None) => break,
                        Err(error) => {
                            requests.push(Err(error));
                            return requests;
                        }
                    }
                }
            }
            requests
        };
        taken(usize::MAX) == taken(1)
    }

    fn no_bytes_make_it_panic_or_hang(input: Vec<u8>) -> bool {
        let _ = all(&input);
        true
    }
}
