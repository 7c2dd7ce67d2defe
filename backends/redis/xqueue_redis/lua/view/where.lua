-- Where tasks lie whose rows cannot be read, as far as that can be told without them.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: ids
-- RETURN: for each the lane, and the state that it is counted in ('' if none)
-- libs: base looking
-- flags: no-writes

local function counted_in(id, lane)
  if peek('ZSCORE', P .. 'later', id) then
    return 'scheduled'
  end
  if peek('ZSCORE', P .. 'done:' .. lane, id) then
    return ''
  end
  for _, worker in ipairs(peek('HKEYS', P .. 'workers') or {}) do
    if peek('HEXISTS', P .. 'held:' .. worker, id) == 1 then
      return 'processing'
    end
  end
  return 'pending'
end

local answer = {}
for _, id in ipairs(ARGV) do
  local type_ = string.match(id, '^[^:]*')
  local lane = peek('HGET', P .. 'types', type_) or type_
  answer[#answer + 1] = lane
  answer[#answer + 1] = counted_in(id, lane)
end
return answer
