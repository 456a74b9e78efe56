//! A small client of the RESP port.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Self>),
}

impl Value {
    pub fn bulk(text: &str) -> Self {
        Self::Bulk(Some(text.as_bytes().to_vec()))
    }

    pub fn ok() -> Self {
        Self::Simple("OK".to_string())
    }

    /// Whether the answer is to send the same again: a write that may have taken effect only in a session, or
    /// if that does no harm.
    pub fn says_again(&self) -> bool {
        let kinds = ["BUSY ", "CLUSTERDOWN ", "NOTLEADER ", "UNKNOWN "];
        matches!(self, Self::Error(error) if kinds.iter().any(|kind| error.starts_with(kind)))
    }
}

/// A connection to one node.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn call<A: AsRef<[u8]>>(&mut self, words: &[A]) -> io::Result<Value> {
        self.send(&request(words))?;
        self.receive()
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Ends this side of the connection: nothing more is sent.
    pub fn end(&self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// One line of what is received.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_string())
    }

    pub fn receive(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (sign, text) = line.trim_end().split_at(1);
        let number = || text.parse::<i64>().unwrap();
        Ok(match sign {
            "+" => Value::Simple(text.to_string()),
            "-" => Value::Error(text.to_string()),
            ":" => Value::Integer(number()),
            "_" => Value::Bulk(None),
            "$" if number() < 0 => Value::Bulk(None),
            "$" => {
                let mut bytes = vec![0; usize::try_from(number()).unwrap() + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Value::Bulk(Some(bytes))
            }
            "*" | "%" => {
                let each = if sign == "%" { 2 } else { 1 };
                let values = (0..number() * each).map(|_| self.receive());
                Value::Array(values.collect::<io::Result<_>>()?)
            }
            _ => panic!("not a reply: {line:?}"),
        })
    }
}

/// A request's bytes.
pub fn request<A: AsRef<[u8]>>(words: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}
