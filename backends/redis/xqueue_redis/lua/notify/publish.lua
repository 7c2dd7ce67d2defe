-- Publish progress, and keep the latest of each task.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: how many pages of events  then these, as tell() packs them  then three for each task:
--         id, delivery, its latest event (packed)
-- RETURN: nil
-- libs: base

local pages = tonumber(ARGV[1])
for i = 2, pages + 1 do
  call('XADD', P .. 'events', '*', 'b', ARGV[i])
end
-- Progress of an earlier delivery than the one kept does not become the latest.
for i = pages + 2, #ARGV, 3 do
  local key = P .. 't:' .. ARGV[i]
  local found = redis.pcall('HMGET', key, 's', 'p')
  if not found.err and found[1] then
    local kept = found[2] and tonumber(string.match(found[2], '^(%d+):'))
    if not kept or kept <= tonumber(ARGV[i + 1]) then
      call('HSET', key, 'p', ARGV[i + 1] .. ':' .. ARGV[i + 2])
    end
  end
end
return nil
