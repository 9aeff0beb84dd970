// A bot that lives on neod's session, in Java 17: it asks before each call.
import static java.nio.charset.StandardCharsets.UTF_8;

import com.sun.security.auth.module.UnixSystem;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

class Bot {
    record Session(long generation, String token) {}

    static final String ACCOUNT = env("NEOD_ACCOUNT", "main");
    static final UnixDomainSocketAddress SOCKET = UnixDomainSocketAddress.of(
        env("NEOD_SOCKET", "/run/user/" + new UnixSystem().getUid() + "/neod/neod.sock"));
    static final Pattern REPLY = Pattern.compile(
        "HTTP/1.1 200 .*\r\nNeod-Generation: (\\d+)\r\n.*\r\n\r\n(.+)\n", Pattern.DOTALL);
    // Where neod could not do it, there is a code in place of an outcome.
    static final Pattern OUTCOME = Pattern.compile("\"(?:outcome|code)\":\"(\\w+)\"");

    static String env(String name, String usual) {
        return Optional.ofNullable(System.getenv(name)).orElse(usual);
    }

    /** The reply to one request in HTTP/1.0, so it is all that comes; empty where none comes. */
    static String ask(String request) {
        try (var channel = SocketChannel.open(SOCKET); var selector = Selector.open()) {
            channel.write(ByteBuffer.wrap(request.getBytes(UTF_8)));
            // A Unix socket's channel knows no timeout, but a selector does.
            channel.configureBlocking(false).register(selector, SelectionKey.OP_READ);
            var reply = new ByteArrayOutputStream();
            var some = ByteBuffer.allocate(8192);
            while (selector.select(70_000) > 0) {
                selector.selectedKeys().clear();
                if (channel.read(some) < 0) return reply.toString(UTF_8);
                reply.write(some.array(), 0, some.position());
                some.clear();
            }
        } catch (IOException e) {
            // neod is not there, or went away
        }
        return "";
    }

    /** The session of this moment, if there is one but the dead one, or comes within a minute. */
    static Optional<Session> session(long dead) {
        var path = "/v1/token?account=%s&after=%d&wait=60".formatted(ACCOUNT, dead);
        return REPLY.matcher(ask("GET " + path + " HTTP/1.0\r\n\r\n")).results().findFirst()
            .map(reply -> new Session(Long.parseLong(reply.group(1)), reply.group(2)));
    }

    /** The broker refused this session, and that is what it said. Returns what came of it. */
    static String reject(Session session, int evidence) {
        var body = "{\"account\":\"%s\",\"generation\":%d,\"evidence\":%d}"
            .formatted(ACCOUNT, session.generation, evidence);
        var head = "POST /v1/reject HTTP/1.0\r\nContent-Length: %d\r\n\r\n".formatted(body.length());
        return OUTCOME.matcher(ask(head + body)).results().findFirst()
            .map(found -> found.group(1)).orElse("unheard");
    }

    public static void main(String[] args) throws IOException, InterruptedException {
        var stdin = new BufferedReader(new InputStreamReader(System.in, UTF_8));
        long last = 0, dead = 0; // generations: the one we had last, the one that was refused
        while (true) {
            // It costs little, so nothing is kept, and nothing that is kept can be stale.
            var found = session(dead);
            if (found.isEmpty()) {
                System.out.println("waiting");
                Thread.sleep(1000);
                continue;
            }
            var session = found.get();
            if (session.generation != last) {
                last = session.generation;
                System.out.printf("session %d, %d bytes of token%n", last, session.token.length());
            }
            // A real bot calls the broker here, with session.token. This one reads the answer.
            var answer = stdin.readLine();
            if (answer == null) return;
            if (!Set.of("401", "100022").contains(answer)) continue;
            var outcome = reject(session, Integer.parseInt(answer));
            System.out.printf("rejected %d %s%n", last, outcome);
            switch (outcome) {
                case "renewed", "newer", "deferred" -> dead = last; // never again with this one
                default -> Thread.sleep(1000); // it is served on: no hurry
            }
        }
    }
}
