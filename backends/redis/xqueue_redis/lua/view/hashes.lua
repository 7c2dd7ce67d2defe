-- Read whole hashes, all at one time.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: their names, without the prefix
-- RETURN: [time, then for each a list of fields and values]
-- libs: base looking
-- flags: no-writes

local answer = { format('%.17g', now) }
for i, name in ipairs(ARGV) do
  answer[i + 1] = peek('HGETALL', P .. name) or {}
end
return answer
