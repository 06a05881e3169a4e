-- Who is signed in on the pages. A session lives no longer than its token; logging out ends it here, not only in the cookie.

CREATE TABLE sessions (
    sha256      text PRIMARY KEY,
    token_id    text NOT NULL REFERENCES tokens,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL
);
