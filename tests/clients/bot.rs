//! A bot that lives on neod's session, in Rust's std: it asks before each call.
use std::io::{self, prelude::*};
use std::os::unix::{fs::MetadataExt, net::UnixStream};
use std::time::Duration;
use std::{env, fs, thread};

struct Neod {
    path: String,
    account: String,
}

struct Session {
    generation: u64,
    token: String,
}

impl Neod {
    fn from_env() -> io::Result<Neod> {
        let uid = fs::metadata("/proc/self")?.uid(); // std has no getuid
        let usual = format!("/run/user/{uid}/neod/neod.sock");
        Ok(Neod {
            path: env::var("NEOD_SOCKET").unwrap_or(usual),
            account: env::var("NEOD_ACCOUNT").unwrap_or_else(|_| "main".into()),
        })
    }

    /// One request in HTTP/1.0, so the reply is all that comes: its head and its body.
    fn ask(&self, request: &str) -> io::Result<(String, String)> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        stream.set_read_timeout(Some(Duration::from_secs(70)))?;
        stream.write_all(request.as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        match reply.split_once("\r\n\r\n") {
            Some((head, body)) if body.ends_with('\n') => Ok((head.into(), body.trim_end().into())),
            _ => Err(io::ErrorKind::UnexpectedEof.into()), // a reply that was cut off is none
        }
    }

    /// The session of this moment, if there is one but the dead one, or comes within a minute.
    fn session(&self, dead: u64) -> Option<Session> {
        let account = &self.account;
        let path = format!("/v1/token?account={account}&after={dead}&wait=60");
        let (head, token) = self.ask(&format!("GET {path} HTTP/1.0\r\n\r\n")).ok()?;
        let field = |line: &str| line.strip_prefix("Neod-Generation: ")?.parse().ok();
        let generation = head.lines().find_map(field)?; // a failure has none
        Some(Session { generation, token })
    }

    /// The broker refused this session, and that is what it said. Returns what came of it.
    fn reject(&self, session: &Session, evidence: u32) -> String {
        let (account, generation) = (&self.account, session.generation);
        let body =
            format!(r#"{{"account":"{account}","generation":{generation},"evidence":{evidence}}}"#);
        let length = body.len();
        let answer = self.ask(&format!(
            "POST /v1/reject HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let answer = answer.map_or(String::new(), |(_, body)| body);
        // Where neod could not do it, there is a code in place of an outcome.
        let value = |name| Some(answer.split_once(name)?.1.split('"').next()?.to_owned());
        value(r#""outcome":""#)
            .or_else(|| value(r#""code":""#))
            .unwrap_or("unheard".into())
    }
}

fn main() -> io::Result<()> {
    let neod = Neod::from_env()?;
    let mut answers = io::stdin().lines();
    let (mut last, mut dead) = (0, 0); // generations: the one we had last, the one that was refused
    loop {
        // It costs less than a millisecond, so nothing is kept, and nothing that is kept is stale.
        let session = match neod.session(dead) {
            Some(session) => session,
            None => {
                println!("waiting");
                thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        if session.generation != last {
            last = session.generation;
            println!("session {last}, {} bytes of token", session.token.len());
        }
        // A real bot calls the broker here, with session.token. This one reads the answer.
        let answer = match answers.next() {
            Some(answer) => answer?,
            None => return Ok(()),
        };
        let evidence = match answer.as_str() {
            "401" => 401,
            "100022" => 100022,
            _ => continue,
        };
        let outcome = neod.reject(&session, evidence);
        println!("rejected {last} {outcome}");
        match outcome.as_str() {
            "renewed" | "newer" | "deferred" => dead = last, // never again with this one
            _ => thread::sleep(Duration::from_secs(1)),      // it is served on: no hurry
        }
    }
}
