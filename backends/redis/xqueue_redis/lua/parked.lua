-- How many tasks wait for each key of these lanes, in pages (P3.4).
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: packed [lane, ...], in order  2: the last one of the page before, '' at first
--         3: most lines
-- RETURN: [lane, key, number of tasks, acceptance of the first (text), ...] of each line
-- libs: base row

local found = {}
local lanes, after, limit = unpack_(ARGV[1]), ARGV[2], tonumber(ARGV[3])
for _, lane in ipairs(lanes) do
  local begin = '[' .. lane .. '\0'
  if after >= lane .. '\0' then
    begin = '(' .. after
  end
  if after < lane .. '\1' and #found < 4 * limit then
    local members = call('ZRANGEBYLEX', P .. 'lines', begin, '(' .. lane .. '\1', 'LIMIT', 0,
      limit - #found / 4)
    for _, member in ipairs(members) do
      local key = string.sub(member, #lane + 2)
      local line = P .. 'line:' .. lane .. ':' .. key
      local first = call('ZRANGE', line, 0, 0)
      local row = first[1] and load_task(first[1])
      found[#found + 1] = lane
      found[#found + 1] = key
      found[#found + 1] = call('ZCARD', line)
      found[#found + 1] = format('%.6f', row and row[ACCEPTED_AT] or 0)
    end
  end
end
return found
