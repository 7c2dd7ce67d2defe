-- Read the log of events.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: the first entry wanted  2: at most so many entries
-- RETURN: [how many entries were ever added, how many are kept, the first one's id ('' if none is
--         kept), the last one's id, kept or not, then id and events (packed; nil in an entry that
--         is not ours) of each entry]
-- libs: base looking
-- flags: no-writes

local key = P .. 'events'
local info = peek('XINFO', 'STREAM', key)
if not info then
  return { 0, 0, '', '0-0' }
end
info = named(info)
local first = info.length > 0 and info['first-entry'][1] or ''
local answer = { info['entries-added'], info.length, first, info['last-generated-id'] }
for _, entry in ipairs(peek('XRANGE', key, ARGV[1], '+', 'COUNT', ARGV[2]) or {}) do
  local n = #answer
  answer[n + 1], answer[n + 2] = entry[1], named(entry[2]).b or false
end
return answer
