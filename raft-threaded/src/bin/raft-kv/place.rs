//! A node and where it is, as people write it.

use std::str::FromStr;

/// A node and its address, as `1=10.0.0.1:7101`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) address: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected ID=HOST:PORT, for instance 1=10.0.0.1:7101";
        let (id, address) = text.split_once('=').ok_or(expected)?;
        let id = id
            .parse()
            .map_err(|_| format!("{id:?} is no id; {expected}"))?;
        let (host, port) = address.rsplit_once(':').ok_or(expected)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("{address:?} is no address; {expected}"));
        }
        Ok(Self {
            id,
            address: address.to_string(),
        })
    }
}
