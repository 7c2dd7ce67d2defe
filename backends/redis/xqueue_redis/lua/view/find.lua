-- Read tasks.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: bytes after which no further task is read  2: 1 for all of it, 0 without results and
--         progress  then ids
-- RETURN: [time, lengths, values] as framed() makes them of four values, or six, of each id, or of
--         the first of them: row, envelope, failure, quarantined, result, progress. All are false
--         if it is unknown or expunged; the row is '' if what is there is no task's
-- libs: base looking
-- flags: no-writes

local left = tonumber(ARGV[1])
local fields = { 's', 'e', 'f', 'q' }
if ARGV[2] == '1' then
  fields = { 's', 'e', 'f', 'q', 'r', 'p' }
end

local NOTHING = {}

local function read(id)
  local key = P .. 't:' .. id
  local found = peek('HMGET', key, unpack(fields))
  if found and (found[1] or found[4]) then
    return found
  end
  local stone = found and peek('HEXISTS', key, 'x') == 1
  return (stone or redis.call('EXISTS', key) == 0) and NOTHING or { '' }
end

local values, n = {}, 0
for i = 3, #ARGV do
  local found = read(ARGV[i])
  for field = 1, #fields do
    local value = found[field] or false
    n = n + 1
    values[n] = value
    left = left - (value and #value or 0)
  end
  if left < 0 then
    break
  end
end
return { format('%.17g', now), framed(values, n) }
