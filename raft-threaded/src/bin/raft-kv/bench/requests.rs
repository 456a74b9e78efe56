//! What is asked: the same requests in the same order in every run with the same seed, so that runs compare.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A key is `key:` and so many digits, as redis-benchmark has it.
const KEY_DIGITS: usize = 12;
/// The most keys that can be told apart.
pub(super) const KEYS_MAX: u64 = 10_u64.pow(12);
/// Values are cut out of that many random bytes, which costs less than drawing each of them.
const POOL_BYTES: usize = 64 << 10;
/// Values are text, so that people can look at them.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What kinds of requests there are, and how many of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    /// How many keys there are, from 1 to [`KEYS_MAX`].
    pub(super) keys: u64,
    /// How long a value is.
    pub(super) value_bytes: usize,
    /// How many of a hundred requests are reads.
    pub(super) reads_percent: u64,
    /// Tells one sequence of requests from another.
    pub(super) seed: u64,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// The sequence of requests.
#[derive(Debug)]
pub(super) struct Requests {
    mix: Mix,
    draws: ChaCha8Rng,
    pool: Vec<u8>,
    /// What stands between the key and the value of a write.
    value_length: String,
}

impl Requests {
    pub(super) fn new(mix: Mix) -> Self {
        let mut draws = ChaCha8Rng::seed_from_u64(mix.seed);
        let mut pool = vec![0; POOL_BYTES + mix.value_bytes];
        draws.fill_bytes(&mut pool);
        for byte in &mut pool {
            *byte = LETTERS[usize::from(*byte) % LETTERS.len()];
        }
        Self {
            mix,
            draws,
            pool,
            value_length: format!("\r\n${}\r\n", mix.value_bytes),
        }
    }

    /// Appends the next request, and says what it does.
    pub(super) fn encode_next(&mut self, out: &mut Vec<u8>) -> Kind {
        let (key, value) = self.draw();
        let Some(from) = value else {
            out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$16\r\nkey:");
            out.extend_from_slice(&key);
            out.extend_from_slice(b"\r\n");
            return Kind::Read;
        };
        out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:");
        out.extend_from_slice(&key);
        out.extend_from_slice(self.value_length.as_bytes());
        out.extend_from_slice(&self.pool[from..from + self.mix.value_bytes]);
        out.extend_from_slice(b"\r\n");
        Kind::Write
    }

    /// The next request, for who encodes it otherwise: a key, and the value of a write.
    #[cfg(feature = "etcd")]
    pub(super) fn next_pair(&mut self) -> (Vec<u8>, Option<Vec<u8>>) {
        let (digits, value) = self.draw();
        let value = value.map(|from| self.pool[from..from + self.mix.value_bytes].to_vec());
        ([b"key:", &digits[..]].concat(), value)
    }

    /// The digits of the next request's key, and where in the pool the value of a write begins.
    fn draw(&mut self) -> ([u8; KEY_DIGITS], Option<usize>) {
        let reads = self.below(100) < self.mix.reads_percent;
        let key = digits(self.below(self.mix.keys));
        let value = (!reads).then(|| usize::try_from(self.below(POOL_BYTES as u64)).unwrap_or(0));
        (key, value)
    }

    /// A number below a limit; the multiplication favours none by more than one in 2^64 / `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.draws.next_u64()) * u128::from(limit);
        u64::try_from(product >> 64).unwrap_or(0)
    }
}

fn digits(mut number: u64) -> [u8; KEY_DIGITS] {
    let mut digits = [b'0'; KEY_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use raft_threaded::resp::{Parser, Request};

    use super::*;

    const MIX: Mix = Mix {
        keys: 50,
        value_bytes: 10,
        reads_percent: 30,
        seed: 1,
    };

    /// The requests as a server understands them.
    fn understood(mix: Mix, count: usize) -> Vec<Vec<Bytes>> {
        let (mut requests, mut out) = (Requests::new(mix), Vec::new());
        for _ in 0..count {
            requests.encode_next(&mut out);
        }
        let (mut parser, mut input) = (Parser::default(), BytesMut::from(&out[..]));
        let mut commands = Vec::new();
        while let Some(request) = parser.next(&mut input).unwrap() {
            match request {
                Request::Command(words) => commands.push(words),
                Request::TooLong { .. } => panic!("too long"),
            }
        }
        assert!(input.is_empty(), "nothing is left over");
        commands
    }

    #[test]
    fn a_server_understands_every_request_with_its_key_and_its_value() {
        let commands = understood(MIX, 1_000);
        assert_eq!(commands.len(), 1_000);
        for words in &commands {
            let key = std::str::from_utf8(&words[1]).unwrap();
            let number: u64 = key.strip_prefix("key:").unwrap().parse().unwrap();
            assert!(key.len() == 16 && number < 50, "{key}");
            match &words[0][..] {
                b"GET" => assert_eq!(words.len(), 2),
                b"SET" => assert_eq!((words.len(), words[2].len()), (3, 10)),
                other => panic!("{other:?}"),
            }
        }
        let keys: std::collections::BTreeSet<&Bytes> = commands.iter().map(|w| &w[1]).collect();
        assert_eq!(keys.len(), 50, "every key is used");
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn etcd_is_asked_the_same_as_a_server_that_speaks_resp() {
        let mut requests = Requests::new(MIX);
        for words in understood(MIX, 200) {
            let (key, value) = requests.next_pair();
            assert_eq!(
                (&words[1][..], words.get(2).map(|v| &v[..])),
                (&key[..], value.as_deref())
            );
        }
    }

    #[test]
    fn reads_are_as_many_as_asked_for() {
        let reads = |reads_percent| {
            let commands = understood(
                Mix {
                    reads_percent,
                    ..MIX
                },
                10_000,
            );
            commands.iter().filter(|words| words.len() == 2).count()
        };
        assert_eq!(reads(0), 0);
        assert!((2_800..3_200).contains(&reads(30)), "{}", reads(30));
        assert_eq!(reads(100), 10_000);
    }

    #[test]
    fn a_seed_says_which_requests_and_another_seed_says_others() {
        assert_eq!(understood(MIX, 100), understood(MIX, 100));
        assert_ne!(
            understood(MIX, 100),
            understood(Mix { seed: 2, ..MIX }, 100)
        );
    }

    #[test]
    fn the_smallest_and_the_largest_are_requests_too() {
        let empty = understood(
            Mix {
                value_bytes: 0,
                reads_percent: 0,
                ..MIX
            },
            10,
        );
        assert!(empty.iter().all(|words| words[2].is_empty()));
        assert_eq!(&digits(KEYS_MAX - 1), b"999999999999");
        assert_eq!(&digits(42), b"000000000042");
    }
}
