//! What this machine takes at least, measured in the same rounds.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;

use crate::Failure;
use crate::clock::{micros, now};
use crate::figures::Spread;
use crate::systems::Scene;

/// What is written before each sync, and sent each way.
const BYTES: usize = 128;
const SYNCS: u64 = 1_500;
const ROUND_TRIPS: u64 = 5_000;
/// What does not count, of either.
const WARM_UP: u64 = 100;

/// Medians of one round, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floors {
    /// A write and `fdatasync` in a file whose blocks are there and zeroed.
    pub(crate) sync: u64,
    /// There and back over TCP on this machine.
    pub(crate) round_trip: u64,
}

impl Floors {
    /// # Errors
    ///
    /// The folder cannot be written to, or this machine does not talk to itself.
    pub(crate) fn measure(scene: &Scene) -> Result<Self, Failure> {
        let folder = scene.fresh_folder("floors-")?;
        let file = File::create(folder.path().join("synced"))?;
        let floors = Self {
            sync: sync(&file)?,
            round_trip: round_trip()?,
        };
        scene.stage.check()?;
        Ok(floors)
    }
}

fn sync(file: &File) -> io::Result<u64> {
    let all = usize::try_from(SYNCS + WARM_UP).unwrap_or(usize::MAX) * BYTES;
    file.write_all_at(&vec![0; all], 0)?;
    file.sync_all()?;
    let mut at = 0;
    median(SYNCS, || {
        file.write_all_at(&[1; BYTES], at)?;
        at += BYTES as u64;
        file.sync_data()
    })
}

fn round_trip() -> io::Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    stream.set_nodelay(true)?;
    std::thread::scope(|scope| {
        // Moved in, so that it ends with this side.
        scope.spawn(move || echo(&listener));
        let mut bytes = [1; BYTES];
        let found = median(ROUND_TRIPS, || {
            stream.write_all(&bytes)?;
            stream.read_exact(&mut bytes)
        });
        drop(stream);
        found
    })
}

fn echo(listener: &TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; BYTES];
    loop {
        stream.read_exact(&mut bytes)?;
        stream.write_all(&bytes)?;
    }
}

/// How many microseconds half of the times take at most.
fn median(times: u64, mut what: impl FnMut() -> io::Result<()>) -> io::Result<u64> {
    for _ in 0..WARM_UP {
        what()?;
    }
    let taken = (0..times).map(|_| {
        let start = now();
        what()?;
        Ok(micros(start.elapsed()))
    });
    let taken = taken.collect::<io::Result<Vec<u64>>>()?;
    Ok(Spread::of(taken).map_or(0, |spread| spread.median))
}
