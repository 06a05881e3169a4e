-- What people should look at of a result that was accepted, in sentences.

ALTER TABLE results ADD COLUMN warnings text[] NOT NULL DEFAULT '{}';
