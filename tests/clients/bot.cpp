// A bot that lives on neod's session, in C++17: it asks before each call.
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;

struct Session {
    long long generation;
    std::string token;
};

class Neod {
public:
    Neod() {
        const char *given = std::getenv("NEOD_SOCKET");
        const auto path = given ? given : "/run/user/" + std::to_string(getuid()) + "/neod/neod.sock";
        if (path.size() >= sizeof where.sun_path)
            throw std::runtime_error("NEOD_SOCKET has to be what neoctl socket says");
        path.copy(where.sun_path, path.size());
        if (const char *name = std::getenv("NEOD_ACCOUNT"))
            account = name;
    }

    // The session of this moment, if there is one but the dead one, or comes within a minute.
    std::optional<Session> session(long long dead) const {
        const auto [head, body] = ask("GET /v1/token?account=" + account + "&after=" +
                                      std::to_string(dead) + "&wait=60 HTTP/1.0\r\n\r\n");
        const auto generation = field(head, "\r\nNeod-Generation: ");
        if (generation.empty()) // a failure has none
            return {};
        return Session{std::stoll(generation), body.substr(0, body.size() - 1)};
    }

    // The broker refused this session, and that is what it said. Returns what came of it.
    std::string reject(const Session &session, int evidence) const {
        const auto said = "{\"account\":\"" + account + "\",\"generation\":" +
                          std::to_string(session.generation) +
                          ",\"evidence\":" + std::to_string(evidence) + "}";
        const auto [head, body] = ask("POST /v1/reject HTTP/1.0\r\nContent-Length: " +
                                      std::to_string(said.size()) + "\r\n\r\n" + said);
        for (const auto name : {R"("outcome":")", R"("code":")"}) // the latter where neod could not
            if (const auto what = field(body, name); !what.empty())
                return what;
        return "unheard";
    }

private:
    struct Reply {
        std::string head, body;
    };
    struct Socket {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ~Socket() {
            if (fd >= 0)
                close(fd);
        }
    };

    // What follows a name, to the end of a header's line or of a string in JSON.
    static std::string field(const std::string &text, const std::string &name) {
        const auto at = text.find(name);
        if (at == text.npos)
            return {};
        const auto begin = at + name.size();
        return text.substr(begin, text.find_first_of("\r\"", begin) - begin);
    }

    // One request in HTTP/1.0, so the reply is all that comes; an empty one where none comes.
    Reply ask(const std::string &request) const {
        const Socket peer;
        const timeval patience{70, 0};
        setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (connect(peer.fd, reinterpret_cast<const sockaddr *>(&where), sizeof where) ||
            send(peer.fd, request.data(), request.size(), MSG_NOSIGNAL) != ssize_t(request.size()))
            return {};
        std::string reply;
        char some[8192];
        ssize_t got;
        while ((got = recv(peer.fd, some, sizeof some, 0)) > 0)
            reply.append(some, got);
        const auto end = reply.find("\r\n\r\n");
        if (got < 0 || end == reply.npos || reply.back() != '\n') // one that was cut off is none
            return {};
        return {reply.substr(0, end + 2), reply.substr(end + 4)};
    }

    sockaddr_un where{AF_UNIX, {}};
    std::string account = "main";
};

int main() try {
    const Neod neod;
    long long last = 0, dead = 0; // generations: the one we had last, the one that was refused
    for (std::string answer;;) {
        // It costs less than a millisecond, so nothing is kept that could be stale.
        const auto session = neod.session(dead);
        if (!session) {
            std::cout << "waiting" << std::endl;
            std::this_thread::sleep_for(1s);
            continue;
        }
        if (session->generation != last)
            std::cout << "session " << session->generation << ", " << session->token.size()
                      << " bytes of token" << std::endl;
        last = session->generation;
        // A real bot calls the broker here, with session->token. This one reads the answer.
        if (!std::getline(std::cin, answer))
            return 0;
        if (answer != "401" && answer != "100022")
            continue;
        const auto outcome = neod.reject(*session, std::stoi(answer));
        std::cout << "rejected " << last << ' ' << outcome << std::endl;
        if (outcome == "renewed" || outcome == "newer" || outcome == "deferred")
            dead = last; // never again with this one
        else
            std::this_thread::sleep_for(1s); // it is served on: no hurry
    }
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 2;
}
