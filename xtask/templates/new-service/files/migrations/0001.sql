-- __description__. Ids are UUIDs of version 7, so that the primary key is also the order of creation.
CREATE TABLE __table__ (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
