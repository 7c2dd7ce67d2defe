-- For how long lanes have been paused.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: lanes
-- RETURN: for each what is recorded of it, packed, or nil
-- libs: base looking
-- flags: no-writes

return peek('HMGET', P .. 'lanes', unpack(ARGV)) or {}
